"""The rooms behind `trading_executor`: orders sent once, positions guarded, accounts compared."""
