"""What a run writes: a video file, or pictures."""
