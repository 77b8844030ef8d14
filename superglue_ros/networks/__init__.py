"""SuperPoint and SuperGlue, their optimal matching layer and their weights."""
