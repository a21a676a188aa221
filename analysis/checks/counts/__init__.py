"""What servers counted themselves, held against what the spans say."""
