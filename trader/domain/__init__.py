"""The words of the field as plain values. No clock, chance, disk or network in here."""
