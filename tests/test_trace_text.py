"""Text to tokens and messages to text: by the model's own files, or by stand-ins that say so."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replay.errors import InputError
from replay.trace.chat_template import CHATML, content_text, load_template
from replay.trace.text import _PIECES, APPROXIMATE, load_splitter

HI = [{"role": "user", "content": "Hi"}]
TEXTS = st.text() | st.text(alphabet=" \n\tab1_{}<|>im语é\ud800\u0301", max_size=30)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_pieces_join_to_the_text(text):
    assert "".join(_PIECES.findall(text)) == text


@given(TEXTS)
def test_equal_text_gives_equal_tokens_of_32_bits(text):
    first, second = APPROXIMATE.split([text, text])
    assert first.dtype == "uint32"
    assert first.tolist() == second.tolist()


@given(TEXTS, TEXTS, TEXTS)
def test_what_follows_a_message_changes_none_of_its_tokens(message, one, other):
    ends = [f"{message}<|im_end|>{after}" for after in (one, other)]
    known = APPROXIMATE.split([f"{message}<|im_end|>"])[0].tolist()
    for tokens in APPROXIMATE.split(ends):
        assert tokens[: len(known)].tolist() == known


def test_a_response_and_what_closes_it_share_no_token():
    said, closed = APPROXIMATE.split(['{"a": {}}', '{"a": {}}<|im_end|>'])
    assert closed.tolist()[:-1] == said.tolist()


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello world", ["Hello", " world"]),
        ("internationalisation", ["internat", "ionalisa", "tion"]),
        ("12345", ["123", "45"]),
        ("a <= b", ["a", " <=", " b"]),
        ("a\n    b", ["a", "\n   ", " b"]),
        ("日本", ["日", "本"]),
        ("x <| y <|no end", ["x", " <|", " y", " <|", "no", " end"]),
        ("}}<|im_end|>\n", ["}}", "<|im_end|>", "\n"]),
    ],
)
def test_text_is_cut_where_tokenizers_cut_it_first(text, pieces):
    assert _PIECES.findall(text) == pieces


def test_another_process_gives_the_same_ids():
    text = "Fix the bug in münchen.py: 12345 <|im_end|>"
    code = (
        "import sys; from replay.trace.text import APPROXIMATE; "
        "print(APPROXIMATE.split([sys.argv[1]])[0].tolist())"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code, text], capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(printed) == APPROXIMATE.split([text])[0].tolist()


def test_without_a_tokenizer_the_splitter_says_that_it_is_approximate():
    splitter = load_splitter(None)
    assert not splitter.is_exact
    assert "approximate" in splitter.name


SENTENCES = ["the cat sat on the mat", "the dog sat on the log"]


@pytest.fixture
def words(tmp_path):
    """A tokenizer.json of whole words, in order of the alphabet, `[UNK]` first."""
    tokenizers = pytest.importorskip("tokenizers")
    known = sorted({word for sentence in SENTENCES for word in sentence.split()})
    numbers = {word: number for number, word in enumerate(["[UNK]", *known])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(numbers, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.enable_truncation(2)
    made.enable_padding(length=9)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path


def test_a_tokenizer_gives_its_own_ids_uncut_and_unpadded(words):
    splitter = load_splitter(words)
    assert splitter.is_exact
    assert splitter.name.startswith("the tokenizer tokenizer.json, sha256 ")
    found = splitter.split([*SENTENCES, "the bird", ""])
    assert [ids.tolist() for ids in found] == [
        [7, 1, 6, 5, 7, 4], [7, 2, 6, 5, 7, 3], [7, 0], [],
    ]  # fmt: skip
    assert all(ids.dtype == "uint32" for ids in found)


def test_a_trained_byte_pair_tokenizer_gives_its_own_ids(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(SENTENCES, trainer)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    texts = [*SENTENCES, "a new cat é", "the cat<|im_end|>"]
    wanted = [made.encode(text, add_special_tokens=False).ids for text in texts]
    found = [ids.tolist() for ids in load_splitter(path).split(texts)]
    assert found == wanted
    assert found[3][-1] == made.token_to_id("<|im_end|>")


def test_half_a_surrogate_pair_is_no_hindrance_to_a_tokenizer(words):
    assert load_splitter(words).split(["the \ud800"])[0].tolist() == [7, 0]


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff\xfe", b"[1]", b'{"version": "1.0", "model": {"type": "Magic"}}']
)
def test_a_file_that_is_no_tokenizer_is_refused(content, tmp_path):
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="is no tokenizer") as caught:
        load_splitter(path)
    assert "tokenizer.json that comes with the model" in caught.value.hint


def test_a_missing_tokenizer_is_refused(tmp_path):
    pytest.importorskip("tokenizers")
    with pytest.raises(InputError, match=r"cannot read the tokenizer .*No such file"):
        load_splitter(tmp_path / "none.json")


def test_a_tokenizer_that_cannot_take_a_text_is_an_error(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="[UNK]"))
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    with pytest.raises(InputError, match=r"the tokenizer tokenizer.json, sha256 \w+ fails: "):
        load_splitter(path).split(["b"])


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ("x", "x"),
        ([{"type": "text", "text": "a"}, "b", {"type": "text", "text": "c"}], "abc"),
        ([{"type": "image", "url": "é"}], '{"type": "image", "url": "é"}'),
        ({"b": 1, "a": 2}, '{"b": 1, "a": 2}'),
        (7, "7"),
    ],
)
def test_content_is_text_and_parts_stand_for_themselves(content, text):
    assert content_text(content) == text


def test_without_a_template_messages_are_chatml():
    assert load_template(None, None) is CHATML
    messages = [*HI, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}]
    assert CHATML.render(messages, [{"name": "t"}]) == (
        '<|im_start|>tools\n{"name": "t"}<|im_end|>\n'
        "<|im_start|>user\nHi<|im_end|>\n"
        '<|im_start|>assistant\n{"id": 1}<|im_end|>\n'
        "<|im_start|>assistant\n"
    )


@given(st.lists(st.fixed_dictionaries({"role": st.text(max_size=3), "content": st.text()})))
def test_chatml_of_a_longer_conversation_starts_with_that_of_a_shorter(messages):
    shorter = CHATML.render(messages).removesuffix("<|im_start|>assistant\n")
    assert CHATML.render([*messages, *HI]).startswith(shorter)


def template(tmp_path, text, name="t.jinja"):
    pytest.importorskip("jinja2")
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return path


def test_a_template_writes_the_prompt(tmp_path):
    path = template(
        tmp_path,
        "{{ bos_token }}{% for m in messages %}\n"
        "    {% if loop.index > 1 %}{% continue %}{% endif %}\n"
        "<{{ m['role'] }}>{% generation %}{{ m.content | trim }}{% endgeneration %}\n"
        "{% endfor %}{{ tools | tojson(separators=(',', ':')) }}"
        "{% if add_generation_prompt %}<go>{% endif %}",
    )
    found = load_template(path, None)
    assert found.render(HI + HI, [{"a": "é"}]) == '<user>Hi[{"a":"é"}]<go>'
    assert found.name == "the chat template in t.jinja"


BESIDE = {"bos_token": {"content": "<s>"}, "eos_token": "</s>"}
SOURCE = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("tokenizer_config.json", {"chat_template": SOURCE}),
        ("tokenizer_config.json", {"chat_template": [
            "x", {"name": "tool_use", "template": "no"}, {"name": "default", "template": SOURCE}]}),
        ("chat_template.jinja", {}),
        ("chat_template.jinja", {"chat_template": "no"}),
    ],
)  # fmt: skip
def test_the_template_beside_a_tokenizer_is_found_with_its_special_tokens(name, config, tmp_path):
    template(tmp_path, json.dumps(BESIDE | config), "tokenizer_config.json")
    if name.endswith("jinja"):
        template(tmp_path, SOURCE, name)
    found = load_template(None, tmp_path / "tokenizer.json")
    assert found.name == f"the chat template in {name}"
    assert found.render(HI) == "<s>Hi</s>"


def test_a_template_that_is_named_stands_before_the_one_beside(tmp_path):
    template(tmp_path, "beside", "chat_template.jinja")
    named = template(tmp_path, "named")
    assert load_template(named, tmp_path / "tokenizer.json").render(HI) == "named"


@pytest.mark.parametrize("config", ['{"chat_template": 5}', "[]", "{}", '{"chat_template": []}'])
def test_a_tokenizer_without_a_template_has_chatml(config, tmp_path):
    template(tmp_path, config, "tokenizer_config.json")
    assert load_template(None, tmp_path / "tokenizer.json") is CHATML


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.jinja", "{% if %}", "t.jinja is no chat template: "),
        ("t.jinja", "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}", "t.jinja is no chat template: "),
        ("t.jinja", "{% for a in [1] %}" * 30 + "{% endfor %}" * 30, "is no chat template: "),
        ("t.json", "{", "t.json is not valid JSON: "),
        ("t.json", "[" * 100_000, "t.json is not valid JSON: "),
        ("t.json", "{}", "t.json has no chat template"),
        ("t.jinja", "\ud800", "cannot read the chat template .*t.jinja: "),
    ],
)
def test_a_file_that_is_no_template_is_refused(name, text, message, tmp_path):
    path = template(tmp_path, text, name)
    with pytest.raises(InputError, match=message):
        load_template(path, None)


def test_a_missing_template_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot read the chat template .*No such file"):
        load_template(tmp_path / "none.jinja", None)


@pytest.mark.parametrize(
    "text",
    [
        "{{ raise_exception('roles must alternate') }}",
        "{{ 1 / 0 }}",
        "{{ messages[9].content }}",
        "{{ messages['x'].y }}",
        "{{ range(10 ** 9) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ nothing() }}",
        "{{ '%d' % 'x' }}",
        "{% include 'x' %}",
        "{{ messages | tojson(no_such=1) }}",
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__.__base__.__subclasses__() }}",
        "{{ raise_exception.__globals__.json }}",
        "{{ messages.append(1) }}",
        "{{ messages[0].update(content='x') }}",
    ],
)
def test_a_template_that_fails_or_reaches_out_of_its_sandbox_is_an_error(text, tmp_path):
    found = load_template(template(tmp_path, text), None)
    with pytest.raises(InputError, match=r"^the chat template in t.jinja fails: "):
        found.render(HI)
    assert HI == [{"role": "user", "content": "Hi"}]
