"""Speed and memory: ours stage by stage, and beside others."""
