"""Who a face is: a descriptor of 128 numbers, near each other for pictures of one person."""
