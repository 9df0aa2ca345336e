"""What `streamapp doctor` looks at: facts are asked for, nothing is written, and pure functions judge them."""
