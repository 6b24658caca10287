"""The tokenizer of the demo model: byte-level BPE with the 1.8B family's splits and special-token strings."""

import re

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

VOCAB_SIZE = 3584
BOS = "<｜hy_begin▁of▁sentence｜>"
END_OF_SENTENCE = "<｜hy_end▁of▁sentence｜>"
PAD = "<｜hy_▁pad▁｜>"
USER = "<｜hy_User｜>"
ASSISTANT = "<｜hy_Assistant｜>"
HOLDERS = [f"<｜hy_place▁holder▁no▁{n}｜>" for n in range(9)]
END_OF_TURN = HOLDERS[2]
SPECIALS = [BOS, END_OF_SENTENCE, PAD, USER, ASSISTANT, *HOLDERS]

# The three isolated splits of the 1.8B tokenizer: digit groups, Han and kana runs, everything else.
_SPLITS = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]


def _empty():
    tokenizer = Tokenizer(models.BPE())
    splits = [pre_tokenizers.Split(Regex(s), behavior="isolated", invert=False) for s in _SPLITS]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train(lines):
    """Trains on an iterable of texts. All 256 bytes are in the vocabulary; the special tokens come last."""
    tokenizer = _empty()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    assert tokenizer.get_vocab_size() == VOCAB_SIZE, tokenizer.get_vocab_size()
    return tokenizer


# A line with the newlines that end it. No split of the pre-tokenizer spans the start of such a line as long as
# it does not begin with white space, so lines can be encoded apart and cached.
_LINE = re.compile(r"[^\n]*\n+|[^\n]+")


class Encoder:
    """Encodes prompts line by line, keeping the lines that repeat."""

    CACHE_MAX = 200_000

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.cache = {}
        self.bos, self.user, self.assistant, self.end = (tokenizer.token_to_id(t) for t in (BOS, USER, ASSISTANT, END_OF_TURN))

    def text(self, text):
        out = []
        for line in _LINE.findall(text):
            ids = self.cache.get(line)
            if ids is None:
                ids = self.tokenizer.encode(line, add_special_tokens=False).ids
                if len(self.cache) < self.CACHE_MAX:
                    self.cache[line] = ids
            out += ids
        return out

    def prompt(self, prompt):
        """One user turn with the generation prompt, as the 1.8B chat template renders it."""
        return [self.bos, self.user, *self.text(prompt), self.assistant]

    def target(self, reference):
        return [*self.text(reference), self.end]
