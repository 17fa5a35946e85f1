"""The journal of strokes: painted labels outlive a crash."""
