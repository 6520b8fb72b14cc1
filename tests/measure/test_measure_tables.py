"""Tables, pages and plots: what they hold is what was measured."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from vidsr.errors import TargetError, UsageError
from vidsr.measure.figures import STAGES, Figures, MemoryFigures, NetworkFigures, Peak, RunFigures, Spread
from vidsr.measure.plot import svg
from vidsr.measure.tables import bench_text, number_text, spread_text, table, write_block

SVG = "{http://www.w3.org/2000/svg}"


def make_figures(model="compact", fps=8.0, *, network=True, peak_low=200.0):
    return Figures(
        model=model,
        engine="torch" if network else "none",
        precision="fp32",
        device="cpu",
        machine={"device": "Some <fast> processor", "processors": "2", "system": "Linux"},
        size=(320, 180),
        target_size=(640, 360),
        batch=1,
        num_rounds=3,
        network=NetworkFigures(
            fps=Spread(min=fps - 1, median=fps, max=fps + 1),
            random_fps=Spread(min=fps, median=fps, max=fps),
            gflops=Spread(min=180, median=187, max=190),
            of_peak=Spread(min=0.8, median=0.85, max=0.9),
            peak=Peak(gflops=210.0, by="product of matrices"),
            peak_gflops=Spread(min=peak_low, median=208, max=210),
            psnr_db=123.4,
            max_levels=0.0021,
        )
        if network
        else None,
        run=RunFigures(
            num_frames=12,
            fps=Spread(min=fps - 2, median=fps - 0.5, max=fps),
            of_network=Spread(min=0.9, median=0.94, max=1.0) if network else None,
            fixed_seconds=0.25,
            busy=dict(zip(STAGES, (0.01, 0.0, 0.05, 0.9, 0.001, 0.07), strict=True)),
        ),
        memory=MemoryFigures(start_bytes=300 << 20, steady_bytes=400 << 20, peak_bytes=450 << 20, gpu_peak_bytes=None),
    )


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def tables_of(text):
    """The tables in a text: lists of rows of cells, without their rules."""
    found = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append(cells(line))
        elif found[-1]:
            found.append([])
    return [[rows[0], *rows[2:]] for rows in found if rows]


def test_spreads():
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(min=1.0, median=2.5, max=10.0)
    assert spread_text(Spread(min=1.0, median=2.5, max=10.0)) == "2.50 (1.00 to 10.0)"
    assert spread_text(Spread.of([0.5])) == "0.500"
    assert spread_text(None) == "-"
    assert [number_text(value) for value in (0.01234, 7.6543, 76.543, 1234.5)] == ["0.012", "7.65", "76.5", "1234"]
    assert number_text(187.4, 0) == "187"


def test_a_table_is_aligned_markdown():
    lines = table(("name", "value"), [("a long name", "1"), ("b", "12345.6")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert [cells(line) for line in lines] == [
        ["name", "value"],
        ["-----------", "------:"],
        ["a long name", "1"],
        ["b", "12345.6"],
    ]


def test_the_text_has_every_figure_in_its_place():
    speed, stages, memory = tables_of(bench_text([make_figures(), make_figures("nearest", 100.0, network=False)]))
    as_dict = dict(zip(speed[0], speed[1], strict=True))
    assert as_dict["model, input"] == "compact, 320x180"
    assert as_dict["on"] == "torch fp32 cpu"
    assert as_dict["network only, fps"] == "8.00 (7.00 to 9.00)"
    assert as_dict["end to end, fps"] == "7.50 (6.00 to 8.00)"
    assert as_dict["of network only"] == "0.94 (0.90 to 1.00)"
    assert as_dict["GFLOP/s"] == "187 (180 to 190)"
    assert as_dict["of peak"] == "0.85 (0.80 to 0.90)"
    assert as_dict["PSNR"] == "123.4 dB"
    assert as_dict["levels"] == "0.002"
    assert speed[2][2:] == ["-", "99.5 (98.0 to 100)", "-", "-", "-", "-", "-"]
    assert stages[0][1:7] == list(STAGES)
    assert stages[1][1:] == ["1.0 %", "0.0 %", "5.0 %", "90.0 %", "0.1 %", "7.0 %", "12", "0.25 s"]
    # 150 MiB over 57600 pixels
    assert memory[1] == ["compact, 320x180", "300 MiB", "400 MiB", "450 MiB", "2.73"]


def test_equal_is_said_and_the_gpu_has_its_column():
    figures = make_figures()
    equal = replace(
        figures,
        network=replace(figures.network, psnr_db=None, max_levels=0.0),
        memory=replace(figures.memory, gpu_peak_bytes=576_000_000),
    )
    speed, _, memory = tables_of(bench_text([equal]))
    assert speed[1][-2:] == ["equal", "0.000"]
    assert memory[0][-1] == "GPU peak"
    assert memory[1][-2:] == ["10.00", "549 MiB"]


def test_rows_of_one_network_and_size_are_told_apart():
    one, other_network = make_figures(), make_figures("deep")
    cases = [
        one,
        replace(one, target_size=(1280, 720)),
        replace(one, engine="winograd"),
        replace(one, device="cuda:0", precision="fp16"),
        other_network,
    ]
    names_in_tables = [[row[0] for row in rows[1:]] for rows in tables_of(bench_text(cases))]
    assert names_in_tables[0] == names_in_tables[1] == names_in_tables[2]
    assert names_in_tables[0] == [
        "compact, 320x180 to 640x360, torch fp32 cpu",
        "compact, 320x180 to 1280x720, torch fp32 cpu",
        "compact, 320x180 to 640x360, winograd fp32 cpu",
        "compact, 320x180 to 640x360, torch fp16 cuda:0",
        "deep, 320x180",
    ]
    first_two = tables_of(bench_text(cases[:2]))[1]
    assert [row[0] for row in first_two[1:]] == ["compact, 320x180 to 640x360", "compact, 320x180 to 1280x720"]
    assert "320x180 to 1280x720, torch fp32 cpu" in svg(cases)


def test_an_unsteady_machine_is_named():
    assert "not quiet" not in bench_text([make_figures(peak_low=200.0)])
    text = bench_text([make_figures(peak_low=150.0)])
    assert "from round to round 150 to 210" in text
    assert "not quiet" in text


def test_a_block_of_a_page_is_made_anew_and_nothing_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- begin x -->\nold\n<!-- end x -->\nafter <!-- begin y -->1<!-- end y -->\n")
    for _ in range(2):
        write_block(page, "x", r"new \1 text")
        assert page.read_text() == (
            "before\n<!-- begin x -->\nnew \\1 text\n<!-- end x -->\nafter <!-- begin y -->1<!-- end y -->\n"
        )
    with pytest.raises(UsageError, match="0 blocks"):
        write_block(page, "z", "text")
    with pytest.raises(TargetError):
        write_block(tmp_path / "missing.md", "x", "text")


def test_the_plot_shows_every_spread_where_it_belongs():
    cases = [make_figures("a", 4.0), make_figures("b & <c>", 40.0), make_figures("nearest", 400.0, network=False)]
    root = ElementTree.fromstring(svg(cases))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert "Frames per second: Some <fast> processor" in texts
    assert "b & <c>" in texts
    assert [text for text in texts if text.endswith(" fps")] == ["3.50 fps", "39.5 fps", "400 fps"]
    marks = [(float(c.get("cx")), c.get("fill")) for c in root.iter(f"{SVG}circle")][2:]  # two are the legend's
    assert len(marks) == 5
    runs = [x for x, color in marks if color == "#1f6feb"]
    assert runs == sorted(runs)
    # On a logarithmic scale, equal ratios are equal distances: 3.5 to 39.5, and 39.5 to 399.5.
    assert runs[1] - runs[0] == pytest.approx((runs[2] - runs[1]) * 1.0524 / 1.0049, rel=0.01)
    width, height = float(root.get("width")), float(root.get("height"))
    lines = list(root.iter(f"{SVG}line"))
    assert all(0 <= float(line.get(key)) <= width for line in lines for key in ("x1", "x2"))
    assert all(0 <= float(line.get(key)) <= height for line in lines for key in ("y1", "y2"))
    ticks = [float(text) for text in texts if text.replace(".", "").isdigit()]
    assert ticks == [2, 5, 10, 20, 50, 100, 200, 500]
