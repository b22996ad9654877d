"""Files of running projects that change: what is built anew, what is copied into containers, what is only told."""
