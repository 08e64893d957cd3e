"""The methods' pages are those of their docstrings."""

from pathlib import Path

from method_pages import INDEX, pages, write_pages

from mmbal.registry import methods

ROOT = Path(__file__).parents[2]


def test_the_pages_in_docs_are_up_to_date():
    folder = ROOT / "docs" / "methods"
    stale = [name for name, text in pages().items() if (folder / name).read_text(encoding="utf-8") != text]
    gone = [path.name for path in folder.glob("*.md") if path.name not in pages()]
    assert not stale + gone, "run: python docs/method_pages.py"


def test_a_page_says_what_the_docstring_and_the_config_say():
    found = pages()
    assert set(found) >= {INDEX, "joint.md", "ogm_ge.md", "balanced_set.md"}
    text = found["balanced_set.md"]
    assert "[2302.10912](https://arxiv.org/abs/2302.10912), 2023. Status: with stated deviations." in text
    assert (
        "| `method.strength` | 1 | ≥ 0, ≤ 1 | 1 makes the discrepancy uniform, 0 leaves the rows as they are |" in text
    )
    assert "| `method.by_class` | true |" in text
    assert "With `strength=0` it is joint training, bit for bit." in text
    assert "\n    c_m = p_m[y] of unimodal models" in text
    assert "| `method.weighting` | debias | constant, debias, p2, min_snr, inverse |" in found["snr_debias.md"]
    assert "[10.18653/v1/2022.findings-acl.143](https://doi.org/10.18653/v1/2022.findings-acl.143)" in found["mslr.md"]
    assert "[www.ijcai.org/proceedings/2024](https://www.ijcai.org/proceedings/2024)" in found["olm.md"]
    assert all(f"[`{name}`]({name}.md)" in found[INDEX] for name in methods.names())


def test_a_page_names_the_functions_of_its_formula():
    found = {name.removesuffix(".md"): text for name, text in pages().items() if name != INDEX}
    without = {name for name, text in found.items() if "The formula as functions, which need no trainer" not in text}
    assert without == {"joint", "unimodal", "late_fusion"}  # plain cross-entropies
    assert "- `mmbal.methods.agm.modulation(losses, running, alpha, cap)`" in found["agm"]
    assert (
        "- `mmbal.methods.ogm.modulation(scores, alpha, weak_gain)`" in found["ogm_ge"]
    )  # of the page that it builds on
    assert "- `mmbal.decision.rules.qmf.energy_confidence(" in found["qmf"]
    assert "- `mmbal.methods.parts.teachers.feature_distance(" in found["umt"]


def test_writing_again_changes_nothing_and_what_is_gone_goes(tmp_path):
    assert len(write_pages(tmp_path)) == len(pages())
    assert write_pages(tmp_path) == []
    (tmp_path / "old.md").write_text("A method that is no more.")
    assert write_pages(tmp_path) == [tmp_path / "old.md"]
    assert not (tmp_path / "old.md").exists()
