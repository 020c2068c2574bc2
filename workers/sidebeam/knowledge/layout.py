"""How an index lies in one array of uint32, on disk as in memory.

The index is the suffix tree of some texts. Its *leaves* are the suffixes, its *rows* the inner nodes: one for each
string that stands in two places and goes on in two ways. A row's leaves are contiguous in `order`: first those that
hang on the row itself, by their next token, texts that end here last; then those below its children. Children are
contiguous rows, most leaves first, so that a search that wants the likeliest need not look at the others.

A header of `HEADER` words says where the parts begin and how long they are:

| part | words | what |
|---|---|---|
| text | n | tokens; `END` after each text |
| order | n less the ENDs | starts of suffixes in `text` |
| rows | `ROW` each | see below; row 0 is the empty string |
| edges | 2 each | a hash table from (row, token) to what follows, of rows with more than `NARROW` ways on |
"""

from __future__ import annotations

HEADER = 16
TEXT, N_TEXT, ORDER, N_ORDER, ROWS, N_ROWS, EDGES, EDGE_MASK = range(8)  # words of the header

ROW = 6
LEAVES, COUNT, DEPTH, CHILDREN, TOKEN, PLACE = range(ROW)
# first leaf; leaves; length of the string; first child or 0; its token below its parent; where it stands in `text`
LAST = 1 << 31  # in TOKEN: has no sibling after it
WIDE = 1 << 31  # in DEPTH: its ways on stand in the hash table
LOW = LAST - 1

LEAF = 1 << 31  # marks a leaf, by its place in `order`, where a row might stand as well
NONE = END = 0xFFFFFFFF
NARROW = 16  # ways on from a row up to which they are searched one by one

TOKEN_LIMIT = 1 << 26  # token ids are below: a table as long as the largest is made where an index is built
TEXT_LIMIT = LEAF - 1  # tokens of one index

# A table that counts deleted leaves: a word with the number before, then 15 words of bits, in each line of the cache.
BLOCK_WORDS, BLOCK_LEAVES = 16, 480
