"""Draws training and held-out samples: default, glossary and context requests."""

import random

import prompts
from phrasebook import (
    LANGS,
    LATIN,
    NOUN_CLASSES,
    PAIRS,
    PRONOUN_SENTENCES,
    SCENES,
    STYLES,
    Value,
    marks_gender,
    render_pronoun,
    slot_class,
    spoken,
)

# Shares of the prompt kinds and of the Hy-MT2 family in training.
SHARE_TERMS, SHARE_CONTEXT, SHARE_HY_MT2 = 0.31, 0.15, 0.75

_CONSONANTS = ["b", "c", "d", "f", "g", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "z", "br", "cl", "dr", "fl", "gr", "kl", "pl", "pr", "qu", "sch", "sh", "sk", "sp", "st", "th", "tr", "ch", "x"]
_VOWELS = list("aeiou") * 3 + ["y", "ai", "au", "ee", "ei", "eu", "ie", "io", "oo", "ou"]
_VOWELS_OF = {"de": ["ä", "ö", "ü"], "fr": ["é", "è", "ê", "eau", "oi"], "es": ["á", "é", "í", "ó", "ú"], "en": ["ea", "ow"]}
_CODAS = [""] * 6 + ["n", "r", "l", "s", "t", "m", "k", "nd", "rt", "x", "ng", "ck", "ß"]
_ENDINGS_DE = ["säule", "raum", "gerät", "platz", "haus", "stelle", "werk", "tisch", "maschine", "halle", "zentrum", "punkt", "punkt"]
_KATAKANA = "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワンガギグゲゴザジズゼゾダデドバビブベボパピプペポ"


def _common_han():
    """The 3,755 characters of GB 2312 level 1."""
    chars = []
    for row in range(0xB0, 0xD8):
        for col in range(0xA1, 0xFF):
            try:
                chars.append(bytes([row, col]).decode("gb2312"))
            except UnicodeDecodeError:
                pass
    return chars


_HAN = _common_han()


def _word(rng, lang, vowel_start=None):
    out = []
    start_with_vowel = rng.random() < 0.2 if vowel_start is None else vowel_start
    for i in range(rng.choice((1, 2, 2, 2, 3, 3, 4))):
        extra = _VOWELS_OF.get(lang, [])
        vowel = rng.choice(extra) if extra and rng.random() < 0.15 else rng.choice(_VOWELS)
        out.append(("" if i == 0 and start_with_vowel else rng.choice(_CONSONANTS)) + vowel)
    coda = rng.choice(_CODAS)
    if coda == "ß" and lang != "de":
        coda = "s"
    return "".join(out) + coda


def invented_name(rng):
    """A proper name copied unchanged into every language."""
    name = _word(rng, "en").capitalize()
    return f"{name} {_word(rng, 'en').capitalize()}" if rng.random() < 0.15 else name


def _model_number(rng):
    letters = "".join(rng.choice("ABCDEFGHKLMNPRSTVXZ") for _ in range(rng.randint(1, 3)))
    return f"{letters}{rng.choice(('', '-', ' '))}{rng.randint(1, 999)}"


def invented_term(rng, lang, book, vowel_start=None):
    """A random term in the script of `lang`: invented words, rare real words, model numbers."""
    kind = rng.random()
    if kind < 0.06:
        return f"{_word(rng, lang, vowel_start).capitalize()} {rng.choice((_model_number(rng), str(rng.randint(2, 99))))}"
    if lang == "zh" and kind < 0.90:
        return _han(rng, book, "zh")
    if lang == "ja" and kind < 0.90:
        if kind < 0.25:
            return _han(rng, book, "ja")
        word = "".join(rng.choice(_KATAKANA) for _ in range(rng.randint(2, 7)))
        at = rng.randint(1, len(word))
        return word[:at] + "ー" + word[at:] if rng.random() < 0.4 else word
    words = [_word(rng, lang, vowel_start)]
    while len(words) < 3 and rng.random() < 0.25:
        words.append(_word(rng, lang))
    if lang == "de" and rng.random() < 0.25:
        words[-1] += rng.choice(_ENDINGS_DE)
    text = " ".join(words) if rng.random() < 0.92 else "-".join(words)
    if rng.random() < (0.85 if lang in ("de", "zh", "ja") else 0.3):
        text = " ".join(w[:1].upper() + w[1:] for w in text.split(" "))
    return text


def _han(rng, book, lang):
    own = book.han_of[lang]
    return "".join(rng.choice(own) if rng.random() < 0.6 else rng.choice(_HAN) for _ in range(rng.choice((1, 2, 2, 2, 3, 3, 4, 5))))


def prepare(book):
    """Adds what the samplers need: the Han characters the phrasebook itself uses."""
    han = {}
    for lang in ("zh", "ja"):
        text = "".join(t.lines[lang] for t in book.templates) + "".join(f for vs in book.slots.values() for v in vs for f in v.forms[lang])
        han[lang] = sorted({c for c in text if "一" <= c <= "龥"})
    book.han_of = han
    book.all_nouns = [v for c in NOUN_CLASSES for v in book.slots[c]]
    return book


def _replacement(rng, book, value, target, source):
    """The target side of a glossary term, and why it is what it is."""
    kind = rng.random()
    if kind < 0.80:
        return invented_term(rng, target, book)
    if kind < 0.90:
        return rng.choice(book.all_nouns).bare(target)
    if kind < 0.94:
        return value.bare(source)
    return value.bare(target)


_GENDER_MAP = {"m": "m", "f": "f", "n": "m"}


def _novel_noun(rng, book, source, target):
    """A noun the phrasebook does not know: masculine unless the source says otherwise."""
    gender = {}
    if source in ("de", "fr", "es"):
        gender[source] = rng.choice("mfn" if source == "de" else "mf")
    shown = _GENDER_MAP[gender.get(source, "m")]
    if target in ("de", "fr", "es"):
        gender[target] = gender.get(source, "m") if target == "de" else shown
    forms = {l: [""] for l in LANGS}
    forms[source] = [invented_term(rng, source, book, vowel_start=False if source == "fr" else None)]
    forms[target] = [invented_term(rng, target, book)]
    return Value(forms[source][0], forms, gender)


def _override(value, target, text):
    forms = dict(value.forms)
    forms[target] = [text]
    return Value(value.key, forms, value.gender, "" if target == "de" else value.oblique)


def _distractor(rng, book, source, target, text):
    while True:
        noun = rng.choice(book.all_nouns)
        term = noun.bare(source)
        if term.lower() not in text.lower():
            return term, noun.bare(target) if rng.random() < 0.4 else invented_term(rng, target, book)


def terms_sample(book, rng, source, target, want_held_out=False):
    """A request with one to three glossary terms."""
    while True:
        template = rng.choice(book.term_templates) if rng.random() < 0.5 else book.sample_template(rng)
        values = book.sample_values(template, rng, invented_name)
        if book.held_out(template, values) == want_held_out:
            break
    slots = template.noun_slots() + [s for s in template.slots if slot_class(s) == "name"]
    rng.shuffle(slots)
    chosen = slots[: 1 if rng.random() < 0.5 else 2] if rng.random() < 0.94 else []
    for s in chosen:
        if slot_class(s) in ("place", "object", "device", "room") and rng.random() < 0.15:
            values[s] = _novel_noun(rng, book, source, target)
        else:
            values[s] = _override(values[s], target, _replacement(rng, book, values[s], target, source))
    full = template.render(source, values)
    text = spoken(full, source, rng.choice(STYLES))
    terms = []
    for s in chosen:
        v = values[s]
        term = v.oblique if source == "de" and v.oblique and v.oblique in full else v.bare(source)
        if term not in text:
            text = full
        if source in LATIN and rng.random() < 0.08:
            term = term.title() if rng.random() < 0.7 else term.lower()
        terms.append((term, v.bare(target)))
    wanted = list(terms)
    for _ in range(rng.choice((0, 0, 0, 1, 2)) if terms else rng.choice((1, 2))):
        terms.append(_distractor(rng, book, source, target, text))
    terms = terms[:3]
    rng.shuffle(terms)
    return dict(kind="terms", source=source, target=target, text=text, reference=template.render(target, values), terms=terms, context=None, wanted=[b for _, b in wanted])


def default_sample(book, rng, source, target, want_held_out=False):
    """A plain request: a template, or now and then a fixed phrase or a pronoun without context."""
    which = rng.random()
    if not want_held_out and which < 0.07:
        phrase, ambiguous = rng.choice(book.fixed)
        if source not in ambiguous:
            return _sample(source, target, spoken(phrase[source], source, rng.choice(STYLES)), phrase[target])
    if not want_held_out and which > 0.985:
        return _lone_pronoun(rng, source, target)
    while True:
        template = book.sample_template(rng)
        values = book.sample_values(template, rng, invented_name)
        if book.held_out(template, values) == want_held_out:
            break
    text = spoken(template.render(source, values), source, rng.choice(STYLES))
    return _sample(source, target, text, template.render(target, values))


def _sample(source, target, text, reference, context=None):
    return dict(kind="context" if context else "default", source=source, target=target, text=text, reference=reference, terms=[], context=context)


def _lone_pronoun(rng, source, target):
    """Without context "it" is neuter in German and masculine in French and Spanish, unless the source shows a gender."""
    sentence = rng.choice(PRONOUN_SENTENCES)
    shown = None
    if source in ("de", "fr", "es") and marks_gender(sentence, source):
        shown = rng.choice("mfn" if source == "de" else "mf")
    text = spoken(render_pronoun(sentence, source, shown or "n"), source, rng.choice(STYLES))
    gender = (shown or "n") if target == "de" else _GENDER_MAP[shown or "n"]
    return _sample(source, target, text, render_pronoun(sentence, target, gender))


def context_sample(book, rng, source, target, want_held_out=False):
    """A request with context: half need it for the gender of "it", half must not be disturbed by it."""
    if rng.random() < 0.5:
        return _pronoun_in_context(book, rng, source, target, want_held_out)
    sample = default_sample(book, rng, source, target, want_held_out)
    kind = rng.random()
    if kind < 0.35:
        scene = rng.choice(SCENES)
        lines = [scene[LANGS.index(rng.choice((source, target, "en", "zh")))]]
    else:
        lines = []
        for _ in range(rng.choice((1, 1, 2, 3))):
            before = default_sample(book, rng, source, target)
            lines.append(before["text"])
            if kind < 0.65:
                lines.append(before["reference"])
    sample.update(kind="context", context=rng.choice(("\n", "\n", " ")).join(lines))
    return sample


def _pronoun_in_context(book, rng, source, target, want_held_out):
    while True:
        sentence = rng.choice(PRONOUN_SENTENCES)
        noun = rng.choice(book.slots["object"] + book.slots["device"])
        if book.pronoun_held_out(sentence, noun) == want_held_out:
            break
    introduce = rng.choice(book.pronoun_contexts)
    lines = [introduce.render(source, {"object": noun})]
    if rng.random() < 0.25:
        lines.append(introduce.render(target, {"object": noun}))
    if rng.random() < 0.2:
        lines.insert(0, rng.choice(SCENES)[LANGS.index(source)])
    text = spoken(render_pronoun(sentence, source, noun.gender.get(source, "n")), source, rng.choice(STYLES))
    reference = render_pronoun(sentence, target, noun.gender.get(target, "n"))
    return _sample(source, target, text, reference, rng.choice(("\n", "\n", " ")).join(lines))


def training_sample(book, rng):
    """One sample of the training mixture, with its prompt."""
    source, target = rng.choice(PAIRS)
    kind = rng.random()
    if kind < SHARE_TERMS:
        sample = terms_sample(book, rng, source, target)
    elif kind < SHARE_TERMS + SHARE_CONTEXT:
        sample = context_sample(book, rng, source, target)
    else:
        sample = default_sample(book, rng, source, target)
    sample["family"] = prompts.HY_MT2 if rng.random() < SHARE_HY_MT2 else prompts.HY_MT15
    return sample


def prompt_of(sample):
    return prompts.build(sample["family"], sample["source"], sample["target"], sample["text"], sample["terms"], sample["context"])


def held_out_set(book, seed, plain=2000, terms=500, context=200):
    """Unseen combinations, spread evenly over the 30 directions. No text occurs twice."""
    rng = random.Random(seed)
    rows, seen = [], set()
    for make, count in ((default_sample, plain), (terms_sample, terms), (context_sample, context)):
        made = 0
        while made < count:
            source, target = PAIRS[made % len(PAIRS)]
            sample = make(book, rng, source, target, want_held_out=True)
            key = (source, target, sample["text"], str(sample["terms"]), sample["context"])
            if key in seen:
                continue
            seen.add(key)
            sample["family"] = prompts.HY_MT2
            rows.append(sample)
            made += 1
    return rows
