"""From anyone's files and databases to rows under our column names, each with its place in its source."""
