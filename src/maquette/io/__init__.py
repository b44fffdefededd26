"""Files in and out; the only place of other frames and of sRGB."""
