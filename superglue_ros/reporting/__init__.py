"""What figures and pictures are written with: tables, JSON, plots and picture files."""
