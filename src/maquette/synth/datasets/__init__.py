"""The data sets: shapes, multishade, multiview; how each is made, resumed and read."""
