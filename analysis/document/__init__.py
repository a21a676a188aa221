"""What a report is made of: numbers, sentences, tables, sections, before they are rendered."""
