"""A result folder as a report: tables in three formats, a picture and one page of HTML."""
