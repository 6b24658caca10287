"""Renders the chat templates of both model families with jinja2, for tests/tokenizer.rs.

python make_chat_golden.py TEMPLATE_1_8B TEMPLATE_7B > chat.json
The templates are the chat_template.jinja files of the model repositories (the demo model ships that of the 1.8B family).
"""

import json
import sys

from jinja2 import Environment


def render(template, system, user):
    messages = [{"role": "system", "content": system}] if system is not None else []
    messages.append({"role": "user", "content": user})
    return Environment().from_string(template).render(messages=messages, add_generation_prompt=True)


cases = []
for family, path in (("small", sys.argv[1]), ("large", sys.argv[2])):
    template = open(path, encoding="utf-8").read()
    for system in (None, "You are a translator."):
        for user in ("Hello", "Translate into French:\n\nDie Tür ist offen. 门开着。"):
            cases.append(dict(family=family, system=system, user=user, text=render(template, system, user)))
print(json.dumps(cases, ensure_ascii=False, indent=1))
