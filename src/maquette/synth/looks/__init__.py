"""Materials, paint, lights, backgrounds and the camera: from a G-buffer to a photo."""
