"""Kills, stops and cuts off everything for minutes, and sees that every acknowledged transaction is decided once."""
