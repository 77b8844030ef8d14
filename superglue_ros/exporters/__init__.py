"""What writes engines, and checks them against torch."""
