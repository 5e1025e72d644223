"""What writes the pages, pictures and reports of docs/ and reports/."""
