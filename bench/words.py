"""Words from which made-up documents and rows are put together."""

from __future__ import annotations

_PROSE = """
training certificate trainee course session invoice payment order quotation safety first aid fire
warden lifting operations rigger scaffold inspection confined space work at height assessment result
passed attended hours valid until issued by centre manager signature amount total net vat purchase
reference company address telephone street city approved pending
"""
_FIRST = """
Aisha Ahmed Amina Bilal Chandra Daniel Elena Fatima George Hassan Imran Jamila Karim Layla Maria
Mohammed Nadia Omar Priya Qasim Rania Samir Tariq Usha Victor Wafa Yusuf Zainab
"""
_LAST = """
Abdullah Ali Bose Costa Das Fernandes Garcia Haddad Ibrahim Joseph Khan Lopez Mathew Nair Osman
Pereira Qureshi Rahman Santos Thomas Umar Varghese Walker Yilmaz Zaidi
"""
WORDS = _PROSE.split()
FIRST_NAMES = _FIRST.split()
LAST_NAMES = _LAST.split()
