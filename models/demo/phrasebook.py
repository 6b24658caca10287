"""The robot phrasebook: slot values, sentence templates and the renderer.

Data lives in text files beside this module (`nouns.txt`, `phrases.txt`, `templates.txt`, `fixed.txt`).
A sentence is a template plus one value per slot; rendering it in two languages gives a translation pair.
Glossary terms replace the bare noun of a slot and keep its gender, so the article stays the one of the
original noun; only elision (fr l', en an) follows the first letter of the replacement.
"""

import functools
import hashlib
import itertools
import random
import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
LANGS = ["en", "de", "fr", "es", "zh", "ja"]
LATIN = {"en", "de", "fr", "es"}
PAIRS = [(a, b) for a in LANGS for b in LANGS if a != b]
NOUN_CLASSES = ["place", "room", "object", "device", "person", "event", "food"]
# One combination in this many is held out of training, in every direction and every prompt kind.
HELD_OUT_ONE_IN = 20
# Templates with fewer combinations than this are always trained: holding some out would remove the words themselves.
HELD_OUT_MIN_COMBINATIONS = 60


@dataclass
class Value:
    """One slot value in all languages. `gender` is set for nouns, `oblique` for German accusative/dative."""

    key: str
    forms: dict
    gender: dict = field(default_factory=dict)
    oblique: str = ""

    def bare(self, lang):
        return self.forms[lang][0]


def _rows(path):
    section = None
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = line[1:-1]
            continue
        yield section, [cell.strip() for cell in line.split(" | ")]


def _noun(cells):
    forms, gender, oblique = {}, {}, ""
    for lang, cell in zip(LANGS, cells, strict=True):
        if lang in ("de", "fr", "es"):
            gender[lang], cell, *rest = cell.split(":")
            oblique = rest[0] if rest else oblique
        forms[lang] = [cell]
    return Value(cells[0], forms, gender, oblique)


@dataclass
class Sense:
    """One sense of a word that its context decides, the nouns that give it away, and whether it is the usual one."""

    noun: Value
    cues: list
    usual: bool


def _load_senses(slots):
    """All senses of homographs.txt, two in a row for each word."""
    rows = list(_rows(HERE / "homographs.txt"))
    cues = {v.key: v for c in NOUN_CLASSES for v in slots[c]}
    cues |= {cells[0]: _noun(cells) for section, cells in rows if section == "cue"}
    senses = []
    for cells in (cells for section, cells in rows if section == "group"):
        cells[-1], names = cells[-1].split(" @ ")
        mark, cells[0] = cells[0].split(" ", 1)
        senses.append(Sense(_noun(cells), [cues[name] for name in names.split(", ")], mark == "="))
    assert all(a.usual and not b.usual for a, b in zip(senses[::2], senses[1::2], strict=True))
    return senses


def _load_slots():
    slots = {}
    for section, cells in _rows(HERE / "nouns.txt"):
        slots.setdefault(section, []).append(_noun(cells))
    for section, cells in _rows(HERE / "phrases.txt"):
        forms = {lang: cell.split("/") for lang, cell in zip(LANGS, cells, strict=True)}
        slots.setdefault(section, []).append(Value(cells[0], forms))
    slots["colour_p"] = [_predicate_colour(v) for v in slots["colour"]]
    for name, low, high in [("num", 2, 99), ("floor", 2, 30), ("metres", 2, 100), ("room_no", 100, 999), ("pct", 1, 100)]:
        slots[name] = [same_everywhere(str(n)) for n in range(low, high + 1)]
    slots["code"] = [same_everywhere(f"{c}{n}") for c in "ABCDEFGHJKLMNPRSTUVWXYZ" for n in range(1, 100)]
    slots["clock"] = [_clock(h, m) for h in range(2, 24) for m in range(0, 60, 5)]
    slots["date"] = [_date(month, day) for month in slots["month"] for day in range(2, 29)]
    return slots


def same_everywhere(text):
    """A value copied unchanged in every language: numbers, codes, invented names."""
    return Value(text, {lang: [text] for lang in LANGS})


def _predicate_colour(v):
    forms = dict(v.forms)
    forms["zh"] = [v.bare("zh") + "的"]
    forms["ja"] = [v.bare("ja").removesuffix("の")]
    return Value(v.key, forms)


def _clock(h, m):
    digital = f"{h}:{m:02d}"
    fr = f"{h} h {m:02d}" if m else f"{h} h"
    ja = f"{h}時{m:02d}分" if m else f"{h}時"
    return Value(digital, {"en": [digital], "de": [digital], "fr": [fr], "es": [digital], "zh": [digital], "ja": [ja]})


def _date(month, day):
    m = month.forms
    return Value(
        f"{month.key} {day}",
        {
            "en": [f"{m['en'][0]} {day}"],
            "de": [f"{day}. {m['de'][0]}"],
            "fr": [f"{day} {m['fr'][0]}"],
            "es": [f"{day} de {m['es'][0]}"],
            "zh": [f"{m['zh'][0]}{day}日"],
            "ja": [f"{m['ja'][0]}{day}日"],
        },
    )


# German tables: preposition or article per gender.
_DE = {
    "nom": dict(m="der", f="die", n="das"),
    "acc": dict(m="den", f="die", n="das"),
    "dat": dict(m="dem", f="der", n="dem"),
    "zu": dict(m="zum", f="zur", n="zum"),
    "vom": dict(m="vom", f="von der", n="vom"),
    "in": dict(m="im", f="in der", n="im"),
    "ins": dict(m="in den", f="in die", n="ins"),
    "enom": dict(m="ein", f="eine", n="ein"),
    "eacc": dict(m="einen", f="eine", n="ein"),
    "mein": dict(m="mein", f="meine", n="mein"),
}
# Adjective endings after that article (weak after der, mixed after ein).
_DE_ADJ = {
    "nom": dict(m="e", f="e", n="e"),
    "acc": dict(m="en", f="e", n="e"),
    "enom": dict(m="er", f="e", n="es"),
    "eacc": dict(m="en", f="e", n="es"),
}
_FR = {
    "le": dict(m="le", f="la", v="l'"),
    "du": dict(m="du", f="de la", v="de l'"),
    "au": dict(m="au", f="à la", v="à l'"),
    "un": dict(m="un", f="une"),
    "mon": dict(m="mon", f="ma", v="mon"),
}
_ES = {
    "el": dict(m="el", f="la"),
    "del": dict(m="del", f="de la"),
    "al": dict(m="al", f="a la"),
    "un": dict(m="un", f="una"),
}
_FR_VOWELS = set("aeiouyhéèêëàâîïôûœ")


def _starts_with_vowel_fr(text):
    return text[:1].lower() in _FR_VOWELS


def _article_en(form, text):
    if form == "the":
        return "the " + text
    vowel = text[:1].lower() in "aeiou" and not text.lower().startswith("uni")
    return ("an " if vowel else "a ") + text


def _pick(forms, gender):
    return forms[1] if gender == "f" and len(forms) > 1 else forms[0]


def noun_phrase(value, lang, form, adjective=None):
    """A noun with article or contraction, and an optional colour adjective, in one language."""
    bare = value.bare(lang)
    gender = value.gender.get(lang)
    if lang == "de":
        if form and form != "nom" and form not in ("enom", "mein") and value.oblique:
            bare = value.oblique
        if adjective:
            bare = adjective.bare("de") + _DE_ADJ[form][gender] + " " + bare
        return f"{_DE[form][gender]} {bare}" if form else bare
    if lang in ("fr", "es"):
        if adjective:
            bare = f"{bare} {_pick(adjective.forms[lang], gender)}"
        if not form:
            return bare
        if lang == "es":
            return f"{_ES[form][gender]} {bare}"
        article = _FR[form]["v" if "v" in _FR[form] and _starts_with_vowel_fr(bare) else gender]
        return article + bare if article.endswith("'") else f"{article} {bare}"
    if adjective:
        joint = {"en": " ", "zh": "的", "ja": ""}[lang]
        bare = adjective.bare(lang) + joint + bare
    return _article_en(form, bare) if lang == "en" and form else bare


_SECOND_FORMS = {("unit", "acc"), ("action", "inf")}


def phrase(value, cls, lang, form, gender):
    """A non-noun slot: agreement with `gender` if given, else the named second form, else the only form."""
    forms = value.forms[lang]
    if cls == "quality" and lang == "ja" and form == "pred":
        return forms[0].removesuffix("い")
    if (cls, form) in _SECOND_FORMS:
        return forms[-1]
    return _pick(forms, gender) if cls in ("state", "quality", "colour_p") else forms[0]


_PART = re.compile(r"\{([^{}]+)\}|\[([^\[\]]+)\]")


def _parse(line):
    """Splits a template line into literals and slot references."""
    parts, last = [], 0
    for m in _PART.finditer(line):
        if m.start() > last:
            parts.append(line[last : m.start()])
        if m.group(1):
            head, _, form = m.group(1).partition(":")
            head, _, agree = head.partition("@")
            head, _, adjective = head.partition("~")
            parts.append(("slot", head, adjective, agree, form))
        else:
            head, _, choices = m.group(2).partition("?")
            parts.append(("choice", head, *choices.split("|")))
        last = m.end()
    if last < len(line):
        parts.append(line[last:])
    return parts


@functools.cache
def slot_class(name):
    """The class of a slot: object2 is another object, colour2_p another predicate colour."""
    return re.sub(r"\d", "", name)


class Template:
    """One sentence in six languages with its slots."""

    def __init__(self, index, lines):
        self.index = index
        self.lines = dict(zip(LANGS, lines, strict=True))
        self.parts = {lang: _parse(line) for lang, line in self.lines.items()}
        self.slots = sorted({s for parts in self.parts.values() for p in parts if p[0] == "slot" for s in (p[1], p[2]) if s})
        self.id = hashlib.blake2b(lines[0].encode(), digest_size=4).hexdigest()
        for lang, parts in self.parts.items():
            used = {s for p in parts if p[0] == "slot" for s in (p[1], p[2]) if s}
            assert used == set(self.slots), (lines[0], lang, used, self.slots)

    def combinations(self, slots):
        n = 1
        for s in self.slots:
            if s != "num3":
                n *= len(slots[slot_class(s)])
        return n

    def noun_slots(self):
        return [s for s in self.slots if slot_class(s) in NOUN_CLASSES]

    def render(self, lang, values):
        return finish("".join(text for text, _, _ in self.pieces(lang, values)), lang)

    def pieces(self, lang, values):
        """The sentence in pieces, its first letter as in the file: (text, slot or None, slot of its adjective)."""
        for p in self.parts[lang]:
            if isinstance(p, str):
                yield p, None, None
            elif p[0] == "choice":
                yield p[2] if values[p[1]].gender.get(lang) != "f" else p[3], None, None
            else:
                yield self._slot(lang, values, *p[1:]), p[1], p[2]

    @staticmethod
    def _slot(lang, values, name, adjective, agree, form):
        value = values[name]
        if value.gender or slot_class(name) in NOUN_CLASSES:
            return noun_phrase(value, lang, form, values[adjective] if adjective else None)
        gender = values[agree].gender.get(lang) if agree else None
        return phrase(value, slot_class(name), lang, form, gender)


def finish(text, lang):
    """Capitalises the first letter and removes what slots may leave behind."""
    if lang not in LATIN:
        return text
    i = 1 if text[:1] in "¿¡" else 0
    return text[:i] + text[i : i + 1].upper() + text[i + 1 :]


_ENDS = ".?!。？！"


def spoken(text, lang, style):
    """The source as a speech recogniser may write it: without final mark, in lower case, or both."""
    if style == "full":
        return text
    if style in ("bare", "asr"):
        text = text.rstrip(_ENDS).rstrip().lstrip("¿¡")
    if style == "asr":
        text = re.sub(r"[,，、](?!\d)", " " if lang in LATIN or lang == "ja" else "，", text)
        text = re.sub(r" +", " ", text).replace("，", "" if lang == "zh" else "，")
    if style in ("lower", "asr") and lang in LATIN and not text.startswith(("I ", "I'")):
        i = 1 if text[:1] in "¿¡" else 0
        text = text[:i] + text[i : i + 1].lower() + text[i + 1 :]
    return text


STYLES = ["full"] * 11 + ["asr"] * 5 + ["bare"] * 2 + ["lower"] * 2


def load_templates():
    text = (HERE / "templates.txt").read_text(encoding="utf-8")
    blocks = [[l for l in b.splitlines() if l and not l.startswith("#")] for b in re.split(r"\n\s*\n", text)]
    return [Template(i, b) for i, b in enumerate(b for b in blocks if b)]


def load_fixed():
    """Fixed phrases as {lang: text}, plus the languages in which the wording is ambiguous as a source."""
    out = []
    for _, cells in _rows(HERE / "fixed.txt"):
        ambiguous = {l for l, c in zip(LANGS, cells, strict=True) if c.startswith("~")}
        out.append(({l: c.lstrip("~") for l, c in zip(LANGS, cells)}, ambiguous))
    return out


# Pronoun sentences: "it" needs the gender of a noun that only the context names. [m|f] or [m|f|n].
PRONOUN_SENTENCES = [
    ("it is broken.", "[er|sie|es] ist kaputt.", "[il est cassé|elle est cassée].", "está [roto|rota].", "它坏了。", "それは壊れています。"),
    ("it is very heavy.", "[er|sie|es] ist sehr schwer.", "[il est très lourd|elle est très lourde].", "es muy [pesado|pesada].", "它很重。", "それはとても重いです。"),
    ("it is new.", "[er|sie|es] ist neu.", "[il est neuf|elle est neuve].", "es [nuevo|nueva].", "它是新的。", "それは新しいです。"),
    ("it is over there.", "[er|sie|es] ist dort drüben.", "[il|elle] est là-bas.", "está allí.", "它在那边。", "それはあそこにあります。"),
    ("I cannot find it.", "ich kann [ihn|sie|es] nicht finden.", "je ne peux pas [le|la] trouver.", "no puedo [encontrarlo|encontrarla].", "我找不到它。", "それが見つかりません。"),
    ("I see it.", "ich sehe [ihn|sie|es].", "je [le|la] vois.", "[lo|la] veo.", "我看到它了。", "それが見えます。"),
    ("please bring it to me.", "bitte bringen Sie [ihn|sie|es] mir.", "apportez-[le|la]-moi, s'il vous plaît.", "[tráigamelo|tráigamela], por favor.", "请把它拿给我。", "それを持ってきてください。"),
    ("please put it on the table.", "bitte legen Sie [ihn|sie|es] auf den Tisch.", "veuillez [le|la] poser sur la table.", "[póngalo|póngala] sobre la mesa, por favor.", "请把它放在桌子上。", "それをテーブルの上に置いてください。"),
    ("it is too small.", "[er|sie|es] ist zu klein.", "[il est trop petit|elle est trop petite].", "es demasiado [pequeño|pequeña].", "它太小了。", "それは小さすぎます。"),
    ("is it clean?", "ist [er|sie|es] sauber?", "est-[il|elle] propre ?", "¿está [limpio|limpia]?", "它干净吗？", "それはきれいですか？"),
    ("it belongs to me.", "[er|sie|es] gehört mir.", "[il|elle] m'appartient.", "es [mío|mía].", "它是我的。", "それは私のものです。"),
    ("how much does it cost?", "wie viel kostet [er|sie|es]?", "combien coûte-t-[il|elle] ?", "¿cuánto cuesta?", "它多少钱？", "それはいくらですか？"),
]
# Context sentences that introduce exactly one noun.
PRONOUN_CONTEXTS = [
    ("where is {object:the}?", "wo ist {object:nom}?", "où est {object:le} ?", "¿dónde está {object:el}?", "{object}在哪里？", "{object}はどこですか？"),
    ("do you see {object:the}?", "sehen Sie {object:acc}?", "voyez-vous {object:le} ?", "¿ve {object:el}?", "您看到{object}了吗？", "{object}が見えますか？"),
    ("I have {object:a}.", "ich habe {object:eacc}.", "j'ai {object:un}.", "tengo {object:un}.", "我有{object}。", "{object}を持っています。"),
    ("this is {object:a}.", "das ist {object:enom}.", "c'est {object:un}.", "esto es {object:un}.", "这是{object}。", "これは{object}です。"),
    ("we are talking about {object:the}.", "wir sprechen über {object:acc}.", "nous parlons {object:du}.", "hablamos {object:del}.", "我们在谈论{object}。", "{object}について話しています。"),
    ("I am looking for {object:a}.", "ich suche {object:eacc}.", "je cherche {object:un}.", "busco {object:un}.", "我在找{object}。", "{object}を探しています。"),
]
# What is said of a word whose context decides its sense.
HOMOGRAPH_SENTENCES = [
    ("where is {object:the}?", "wo ist {object:nom}?", "où est {object:le} ?", "¿dónde está {object:el}?", "{object}在哪里？", "{object}はどこですか？"),
    ("I see {object:the}.", "ich sehe {object:acc}.", "je vois {object:le}.", "veo {object:el}.", "我看到{object}了。", "{object}が見えます。"),
    ("please show me {object:the}.", "bitte zeigen Sie mir {object:acc}.", "montrez-moi {object:le}, s'il vous plaît.", "enséñeme {object:el}, por favor.", "请给我看{object}。", "{object}を見せてください。"),
    ("{object:the} is very big.", "{object:nom} ist sehr groß.", "{object:le} est très [object?grand|grande].", "{object:el} es muy grande.", "{object}很大。", "{object}はとても大きいです。"),
    ("I like {object:the}.", "{object:nom} gefällt mir.", "{object:le} me plaît.", "me gusta {object:el}.", "我喜欢{object}。", "{object}が好きです。"),
    ("who found {object:the}?", "wer hat {object:acc} gefunden?", "qui a trouvé {object:le} ?", "¿quién encontró {object:el}?", "谁找到了{object}？", "誰が{object}を見つけましたか？"),
    ("there is {object:a} here.", "hier gibt es {object:eacc}.", "il y a {object:un} ici.", "aquí hay {object:un}.", "这里有{object}。", "ここに{object}があります。"),
    ("I am thinking of {object:the}.", "ich denke an {object:acc}.", "je pense {object:au}.", "pienso en {object:el}.", "我在想{object}。", "{object}のことを考えています。"),
]
# Background sentences that set a scene and change nothing.
SCENES = [
    ("A robot guides visitors.", "Ein Roboter führt Besucher.", "Un robot guide des visiteurs.", "Un robot guía a los visitantes.", "机器人在给访客带路。", "ロボットが来客を案内しています。"),
    ("This is a conversation in a hospital.", "Das ist ein Gespräch in einem Krankenhaus.", "C'est une conversation à l'hôpital.", "Es una conversación en un hospital.", "这是医院里的对话。", "これは病院での会話です。"),
    ("A robot works in a warehouse.", "Ein Roboter arbeitet in einem Lager.", "Un robot travaille dans un entrepôt.", "Un robot trabaja en un almacén.", "机器人在仓库工作。", "ロボットが倉庫で働いています。"),
    ("The speaker is a guest in a hotel.", "Der Sprecher ist Gast in einem Hotel.", "La personne qui parle est cliente d'un hôtel.", "La persona que habla es huésped de un hotel.", "说话者是酒店客人。", "話し手はホテルの客です。"),
    ("Physical training with a teaching robot.", "Gymnastik mit einem Lehrroboter.", "Gymnastique avec un robot enseignant.", "Gimnasia con un robot profesor.", "教学机器人带领的体操。", "教育ロボットとの体操。"),
    ("A waiter robot takes orders.", "Ein Kellnerroboter nimmt Bestellungen auf.", "Un robot serveur prend les commandes.", "Un robot camarero toma pedidos.", "服务机器人在点餐。", "配膳ロボットが注文を取っています。"),
    ("The tone is polite.", "Der Ton ist höflich.", "Le ton est poli.", "El tono es cortés.", "语气礼貌。", "丁寧な口調です。"),
    ("A technician talks to a robot.", "Ein Techniker spricht mit einem Roboter.", "Un technicien parle à un robot.", "Un técnico habla con un robot.", "技术员在和机器人说话。", "技術者がロボットと話しています。"),
]
_CHOICE = re.compile(r"\[([^\]]+)\]")


def render_pronoun(sentence, lang, gender):
    """A pronoun sentence with the given gender (m, f or n) in one language."""
    line = sentence[LANGS.index(lang)]

    def choose(m):
        options = m.group(1).split("|")
        return options["mfn".index(gender) if len(options) > 2 else int(gender == "f")]

    return finish(_CHOICE.sub(choose, line), lang)


def marks_gender(sentence, lang):
    return "[" in sentence[LANGS.index(lang)]


def _in_held_out_share(key):
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big") % HELD_OUT_ONE_IN == 0


class Phrasebook:
    """Everything loaded, with weighted sampling and the held-out rule."""

    def __init__(self):
        self.slots = _load_slots()
        self.templates = load_templates()
        self.fixed = load_fixed()
        self.pronoun_contexts = [Template(i, c) for i, c in enumerate(PRONOUN_CONTEXTS)]
        self.senses = _load_senses(self.slots)
        self.homograph_sentences = [Template(i, c) for i, c in enumerate(HOMOGRAPH_SENTENCES)]
        self.sizes = [t.combinations(self.slots) for t in self.templates]
        self.cum_weights = list(itertools.accumulate(min(n, 20000) ** 0.35 for n in self.sizes))
        self.term_templates = [t for t in self.templates if t.noun_slots() or any(slot_class(s) == "name" for s in t.slots)]

    def sample_values(self, template, rng, invented=None):
        """Random slot values; two slots of one class never hold the same value."""
        values = {}
        for s in template.slots:
            if s == "num3":
                continue
            choices = self.slots[slot_class(s)]
            value = choices[int(rng.random() * len(choices))]
            while any(value is v for v in values.values()):
                value = choices[int(rng.random() * len(choices))]
            if invented and slot_class(s) == "name" and rng.random() < 0.4:
                value = same_everywhere(invented(rng))
            values[s] = value
        if "num3" in template.slots:
            values["num3"] = same_everywhere(str(int(values["num"].key) + int(values["num2"].key)))
        return values

    def held_out(self, template, values):
        """True for combinations that never enter training, whatever the direction."""
        if self.sizes[template.index] < HELD_OUT_MIN_COMBINATIONS:
            return False
        return _in_held_out_share(template.id + "".join(f"|{values[s].key}" for s in template.slots))

    @staticmethod
    def pronoun_held_out(sentence, noun):
        """The same rule for a pronoun sentence and the noun its context names."""
        return _in_held_out_share(f"{sentence[0]}|{noun.key}")

    @staticmethod
    def homograph_held_out(sentence, sense, cue):
        """The same rule for a sentence, a sense and what gives it away."""
        return _in_held_out_share(f"{sentence.id}|{sense.noun.key}|{sense.usual}|{cue.key}")

    def context_decides(self, sense, source, target):
        """True when the source writes both senses alike and the target does not."""
        i = self.senses.index(sense)
        other = self.senses[i ^ 1].noun
        return sense.noun.bare(source) == other.bare(source) and sense.noun.bare(target) != other.bare(target)

    def sample_template(self, rng):
        return rng.choices(self.templates, cum_weights=self.cum_weights)[0]

    def counts(self):
        combos = sum(self.sizes) + len(self.fixed)
        return dict(
            templates=len(self.templates),
            fixed_phrases=len(self.fixed),
            pronoun_sentences=len(PRONOUN_SENTENCES),
            homographs=len(self.senses) // 2,
            slot_classes=len({slot_class(s) for t in self.templates for s in t.slots} - {"num3"}),
            slot_combinations=combos,
            directed_pairs=combos * len(PAIRS),
        )


def _main():
    book = Phrasebook()
    print(book.counts())
    rng = random.Random(0)
    for t in book.templates:
        values = book.sample_values(t, rng)
        print()
        for lang in LANGS:
            print(f"  {lang}: {t.render(lang, values)}")


if __name__ == "__main__":
    _main()
