"""Foreign models as methods: anything that is a callable from `Photo` to `NormalMap`."""
