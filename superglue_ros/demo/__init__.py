"""Programs around the nodes: demo, player, recorder, and what times the live path."""
