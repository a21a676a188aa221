"""Call trees: ids, parents, trees, and what is read off them."""
