"""The exchange's end of Kraken's wire, without sockets: requests in, answers to the letter out."""
