"""Virtual machines and the images that they start from: the documents about them."""
