"""Objects seen from many sides by the protocol and in the layout of ShapeNet-SRN: making them and reading them."""
