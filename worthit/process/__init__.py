"""Child processes, their ports and files: started, watched, and gone afterwards."""
