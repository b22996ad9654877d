"""Images that follow what they are built from: change, build, trial, promotion."""
