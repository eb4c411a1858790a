"""Report of result folders: tables in three formats, a chart, and an HTML page."""
