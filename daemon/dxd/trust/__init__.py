"""Projects whose tools are used: what they ask for, and what the user has allowed."""
