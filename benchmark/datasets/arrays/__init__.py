"""`array:PATH`: the user's own numbers, a table of rows or a stack of images, from common file formats."""
