"""What result folders say beyond the table: pairs, rates, transfer, words, judge, time."""
