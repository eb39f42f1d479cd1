"""What `import replay` offers: one call a question, and answers that a notebook can show."""
