"""What a run leaves for people and other programs: drawings, records, COCO files, pages."""
