"""Services: long-running containers of projects, kept as their compose files and their users want them."""
