"""Draws training and held-out samples: plain, glossary, context and tag requests."""

import random

import marks
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
SHARE_TAGS, SHARE_TERMS, SHARE_CONTEXT, SHARE_HY_MT2 = 0.20, 0.26, 0.17, 0.75

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
    # Words that a context must not be drawn for at random, since it would seem to decide their sense.
    book.undecided = {lang: [] for lang in LANGS}
    for a, b in zip(book.senses[::2], book.senses[1::2]):
        for lang in LANGS:
            if a.noun.bare(lang) == b.noun.bare(lang):
                book.undecided[lang].append(a.noun.bare(lang).lower())
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
    """A request with context: for the gender of "it", for the sense of a word, or for nothing at all."""
    kind = rng.random()
    if kind < 0.38:
        return _pronoun_in_context(book, rng, source, target, want_held_out)
    if kind < 0.66:
        return homograph_sample(book, rng, source, target, want_held_out)
    while True:
        sample = default_sample(book, rng, source, target, want_held_out)
        if not any(word in sample["text"].lower() for word in book.undecided[source]):
            break
    sample.update(kind="context", context=_any_context(book, rng, source, target))
    return sample


def _any_context(book, rng, source, target):
    """A scene, or sentences that were said before, some with their translations."""
    kind = rng.random()
    if kind < 0.3:
        return rng.choice(SCENES)[LANGS.index(rng.choice((source, target, "en", "zh")))]
    lines = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        before = default_sample(book, rng, source, target)
        lines.append(before["text"])
        if kind < 0.5:
            lines.append(before["reference"])
    # A speaker's earlier sentences, as the node puts them together, stand one on a line.
    return rng.choice(("\n", "\n", "\n", " ")).join(lines)


def homograph_sample(book, rng, source, target, want_held_out=False, decided=False):
    """A word whose sense the context gives away; with `decided`, only where the target needs to know."""
    while True:
        sense = rng.choice(book.senses)
        # Mostly where the context decides, for in the others there is nothing to learn.
        if not book.context_decides(sense, source, target):
            if decided and any(book.context_decides(s, source, target) for s in book.senses) or rng.random() < 0.7:
                continue
        sentence, cue = rng.choice(book.homograph_sentences), rng.choice(sense.cues)
        if book.homograph_held_out(sentence, sense, cue) == want_held_out:
            break
    lines = [rng.choice(book.pronoun_contexts).render(source, {"object": cue})]
    if rng.random() < 0.2:
        lines.append(rng.choice(book.pronoun_contexts).render(source, {"object": rng.choice(sense.cues)}))
    if rng.random() < 0.15:
        lines.append(rng.choice(book.homograph_sentences).render(source, {"object": cue}))
    if rng.random() < 0.1:
        lines.insert(0, rng.choice(SCENES)[LANGS.index(source)])
    lines = [spoken(line, source, "bare") if rng.random() < 0.2 else line for line in lines]
    values = {"object": sense.noun}
    text = spoken(sentence.render(source, values), source, rng.choice(STYLES))
    context = rng.choice(("\n", "\n", " ")).join(lines)
    if sense.usual and not want_held_out and rng.random() < 0.1:
        context = None
    return _sample(source, target, text, sentence.render(target, values), context)


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


def _with_adjective(template, slot):
    """The slot of its adjective in any language, or None."""
    return next((p[2] for p in template.parts["en"] if p[0] == "slot" and p[1] == slot and p[2]), None)


def tags_sample(book, rng, source, target, want_held_out=False):
    """A request whose text holds format; without anything that needs markers it becomes a plain one."""
    while True:
        template = book.sample_template(rng)
        values = book.sample_values(template, rng, invented_name)
        if book.held_out(template, values) == want_held_out and "num3" not in template.slots:
            break
    marked, edits, terms = marks.Marked(), {}, []
    slots = marks.countable_slots(template, source, target, values)
    rng.shuffle(slots)
    for s in slots[: rng.choice((0, 1, 1, 1, 2, 2, 2, 3))]:
        edits[s] = _edit(book, rng, marked, template, values, s, source, target)
    nouns = [s for s in template.noun_slots() if not edits.get(s) or edits[s][0] == "wrap"]
    if nouns and rng.random() < 0.2:
        s = rng.choice(nouns)
        values[s] = _override(values[s], target, _replacement(rng, book, values[s], target, source))
        full = template.render(source, values)
        v = values[s]
        terms.append((v.oblique if source == "de" and v.oblique and v.oblique in full else v.bare(source), v.bare(target)))
    wanted = [b for _, b in terms]
    a, b = (_with_edits(template, lang, values, edits, source) for lang in (source, target))
    if terms and terms[0][0] not in a:
        terms, wanted = [], []
        return tags_sample(book, rng, source, target, want_held_out)
    if terms and rng.random() < 0.4:
        terms.append(_distractor(rng, book, source, target, a))
        rng.shuffle(terms)
    a, b = _around(book, rng, marked, source, target, a, b)
    if not marked.parts or marked.runs_together(a):
        return tags_sample(book, rng, source, target, want_held_out)
    if rng.random() < 0.15:
        a = spoken(a, source, "bare") if rng.random() < 0.5 else a[:1].lower() + a[1:]
    undecided = any(word in a.lower() for word in book.undecided[source])
    context = _any_context(book, rng, source, target) if rng.random() < 0.1 and not undecided else None
    sample = dict(kind="tags", source=source, target=target, text=marked.raw(a), reference=marked.raw(b), terms=terms, context=context, wanted=wanted)
    if not marks.must_survive(marked.parts):
        return sample | dict(kind="terms" if terms else "context" if context else "default")
    coded = {f: (marked.coded(a, a, f), marked.coded(a, b, f)) for f in (prompts.HY_MT2, prompts.HY_MT15)}
    return sample | dict(coded=coded, tags=marked.parts)


def _edit(book, rng, marked, template, values, slot, source, target):
    """What happens to one slot: (kind, ...). A placeholder takes the place of its value at once."""
    kind, cls = rng.random(), slot_class(slot)
    if kind < 0.2 and cls not in ("person", "event", "food", "action", "state", "quality", "colour", "colour_p") and not _with_adjective(template, slot):
        char = marked.add(marks.single(rng, source, is_word=True), is_word=True)
        value = _novel_noun(rng, book, source, target) if cls in NOUN_CLASSES else Value(char, {}, {})
        values[slot] = Value(char, {lang: [char] for lang in LANGS}, value.gender)
        return ("word",)
    if kind < 0.34:
        return ("behind", marked.add(marks.single(rng, source)))
    adjective = _with_adjective(template, slot)
    modes = ["noun", "noun", "whole"] + (["adjective"] if adjective else []) if cls in NOUN_CLASSES else ["whole"]
    before, behind = marks.wrapping(rng, marked, source)
    if rng.random() < 0.12 and before != "[":
        more = marks.wrapping(rng, marked, source) if rng.random() < 0.5 else (marked.add("<b>"), marked.add("</b>"))
        if more[0] != "[" and marked.parts[-1].startswith("<"):
            before, behind = before + more[0], more[1] + behind
        else:
            marked.parts = marked.parts[: -1 if more[0] == "[" else -2]
    return ("wrap", rng.choice(modes), before, behind, adjective)


def _with_edits(template, lang, values, edits, source):
    """The sentence with its edits. A source without an article has its noun marked, so the target must as well."""
    out = []
    pieces = list(template.pieces(lang, values))
    plain_in_source = {slot: text == values[slot].bare(source) for text, slot, _ in template.pieces(source, values) if slot}
    for text, slot, _ in pieces:
        kind, *rest = edits.get(slot, ("none",)) if slot else ("none",)
        if kind == "wrap":
            mode, before, behind, adjective = rest
            if mode == "whole" and slot_class(slot) in NOUN_CLASSES and plain_in_source[slot]:
                mode = "noun"
            text = marks.wrap_piece(lang, text, values[slot], adjective, mode, before, behind)
        elif kind == "behind":
            text += (" " if lang in LATIN else "") + rest[0]
        out.append(text)
    return marks.capitalised("".join(out), lang)


_ENDS = ".?!。？！"


def _end_of(text):
    """Where the final mark begins, its space in French included."""
    return len(text.rstrip(_ENDS).rstrip())


def _around(book, rng, marked, source, target, a, b):
    """What stands around a sentence: marks before and behind, a wrapping of all, a second sentence."""
    if rng.random() < 0.12:
        before, behind = marks.wrapping(rng, marked, source, is_sentence=True)
        inside = rng.random() < 0.25
        a, b = ((before + t[: _end_of(t)] + behind + t[_end_of(t) :]) if inside else before + t + behind for t in (a, b))
    if rng.random() < 0.16:
        kind = rng.random()
        if kind < 0.35:
            char = marked.add(marks.link(rng) if rng.random() < 0.6 else marks.code(rng))
            a, b = (t[: _end_of(t)] + _colon(lang) + char for t, lang in ((a, source), (b, target)))
        elif kind < 0.6:
            char = marked.add(marks.single(rng, source))
            a, b = (t[: _end_of(t)] + (f" ({char})" if lang in LATIN else f"（{char}）") + t[_end_of(t) :] for t, lang in ((a, source), (b, target)))
        else:
            tail = " " + marked.add(marks.single(rng, source) if rng.random() < 0.6 else rng.choice(marks.EMOJI))
            a, b = a + tail, b + tail
    if rng.random() < 0.12:
        second = default_sample(book, rng, source, target)
        a2, b2 = second["text"], second["reference"]
        if a2[-1:] in _ENDS and a[-1:] in _ENDS and a2[:1].isupper() == (source in LATIN):
            joint = marked.add(rng.choice(marks.BREAKS)) if rng.random() < 0.4 else "\n" if rng.random() < 0.3 else None
            if joint == "\n" and rng.random() < 0.5:
                first, other = marked.add("- "), marked.add("- ")
                return first + a + joint + other + a2, first + b + joint + other + b2
            return (t + (joint or (" " if lang in LATIN else "")) + u for t, u, lang in ((a, a2, source), (b, b2, target)))
    if rng.random() < 0.14:
        kind = rng.random()
        head = marked.add(rng.choice(marks.LINE_MARKS)) if kind < 0.5 else marked.add(rng.choice(marks.EMOJI)) + " "
        a, b = head + a, head + b
    return a, b


def _colon(lang):
    return {"fr": " : ", "zh": "：", "ja": "："}.get(lang, ": ")


def two_sentences(book, rng, source, target):
    """Two short sentences in one request."""
    while True:
        first, second = (default_sample(book, rng, source, target) for _ in range(2))
        if all(s["text"][-1:] in _ENDS for s in (first, second)) and len(first["text"]) + len(second["text"]) < 110:
            break
    a, b = ((" " if lang in LATIN else "").join((first[k], second[k])) for k, lang in (("text", source), ("reference", target)))
    return _sample(source, target, a, b)


def training_sample(book, rng):
    """One sample of the training mixture, with its prompt."""
    source, target = rng.choice(PAIRS)
    kind = rng.random()
    if kind < SHARE_TERMS:
        sample = terms_sample(book, rng, source, target)
        if rng.random() < 0.07:
            sample["context"] = _any_context(book, rng, source, target)
    elif kind < SHARE_TERMS + SHARE_CONTEXT:
        sample = context_sample(book, rng, source, target)
    elif kind < SHARE_TERMS + SHARE_CONTEXT + SHARE_TAGS:
        sample = tags_sample(book, rng, source, target)
    elif kind < SHARE_TERMS + SHARE_CONTEXT + SHARE_TAGS + 0.03:
        sample = two_sentences(book, rng, source, target)
    else:
        sample = default_sample(book, rng, source, target)
    sample["family"] = prompts.HY_MT2 if rng.random() < SHARE_HY_MT2 else prompts.HY_MT15
    return sample


def prompt_of(sample):
    marked = "coded" in sample
    text = sample["coded"][sample["family"]][0] if marked else sample["text"]
    return prompts.build(sample["family"], sample["source"], sample["target"], text, sample["terms"], sample["context"], marked)


def answer_of(sample):
    """What the model should write."""
    if "coded" not in sample:
        return sample["reference"]
    return prompts.answer(sample["family"], sample["coded"][sample["family"]][1])


def _held_out_tags(book, rng, source, target, want_held_out=True):
    while True:
        sample = tags_sample(book, rng, source, target, want_held_out)
        if sample["kind"] == "tags":
            return sample


def _held_out_homograph(book, rng, source, target, want_held_out=True):
    """Only directions in which a context can decide have any."""
    sample = homograph_sample(book, rng, source, target, want_held_out, decided=True)
    return sample | dict(kind="homograph")


def _held_out_pronoun(book, rng, source, target, want_held_out=True):
    """The gender of "it" in a target that shows one, from a source that need not."""
    return _pronoun_in_context(book, rng, source, target, want_held_out) | dict(kind="pronoun")


def held_out_set(book, seed, plain=2000, terms=500, context=200, tags=500, homographs=200, pronouns=100):
    """Unseen combinations, spread evenly over the directions. No text occurs twice."""
    rng = random.Random(seed)
    rows, seen = [], set()
    deciding = [p for p in PAIRS if any(book.context_decides(s, *p) for s in book.senses)]
    gendered = [p for p in PAIRS if p[0] in ("en", "zh", "ja") and p[1] in ("de", "fr", "es")]
    kinds = (
        (default_sample, plain, PAIRS),
        (terms_sample, terms, PAIRS),
        (context_sample, context, PAIRS),
        (_held_out_tags, tags, PAIRS),
        (_held_out_homograph, homographs, deciding),
        (_held_out_pronoun, pronouns, gendered),
    )
    for make, count, pairs in kinds:
        made = 0
        while made < count:
            source, target = pairs[made % len(pairs)]
            sample = make(book, rng, source, target, want_held_out=True)
            key = (source, target, sample["text"], str(sample["terms"]), sample["context"])
            if key in seen:
                continue
            seen.add(key)
            sample["family"] = prompts.HY_MT2
            rows.append(sample)
            made += 1
    return rows
