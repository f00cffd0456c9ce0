"""SAM 2: masks from prompts, and memories of objects in videos."""
