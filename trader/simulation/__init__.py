"""The exchange's rules, simulated: one matching engine for backtest, paper and sandbox."""
