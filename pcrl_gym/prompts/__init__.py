"""From a row of a dataset (dataset_files, dataset_rows) to a prompt and its text (template)."""
