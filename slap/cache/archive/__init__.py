"""Built folders as archives: the same build is always the same bytes, cut so that two versions share most of them."""
