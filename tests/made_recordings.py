"""Works and recordings made up for the tests."""

import dataclasses

from crawler.items import Movement, Part, Person, Recording, Work

NAMES = ("Allegro", "Larghetto", "Menuetto", "Presto")
TIMES_S = (480, 300, 200, 380)


def work(*recordings: Recording, times: tuple[int, ...] | None = TIMES_S, **more: object) -> Work:
    listed = zip(NAMES, times or (None,) * len(NAMES), strict=True)
    plain = Work(
        work_id="A-Person-Quartet",
        page_url="/A-Person-Quartet/",
        composer=Person(name="A Person"),
        title="Quartet",
        movements=tuple(
            Movement(number=n, name=name, typical_s=time)
            for n, (name, time) in enumerate(listed, start=1)
        ),
        recordings=recordings,
    )
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]


def part(number: int | None, video: str = "oneFile1234", **more: object) -> Part:
    name = NAMES[number - 1] if number and number <= len(NAMES) else ""
    plain = Part(
        video_id=f"{video}{number or 0}", youtube_id=video, url=f"/watch?v={video}",
        movement=number, name=name,
    )  # fmt: skip
    return dataclasses.replace(plain, **more)  # type: ignore[arg-type]


def files(*lengths_s: float | None, names: tuple[str, ...] = NAMES) -> Recording:
    """A file a movement."""
    told = enumerate(zip(lengths_s, names, strict=False), start=1)
    return recording(
        *(part(n, f"fileOfItNr{n}", duration_s=length, name=name) for n, (length, name) in told)
    )


def recording(*parts: Part) -> Recording:
    return Recording(recording_id=parts[0].video_id if parts else "none", parts=parts)


def modere(*lengths_s: float | None, name: str = "Modéré") -> Recording:
    """Rows that all have the first movement's label."""
    told = enumerate(lengths_s)
    return recording(
        *(part(1, f"fileOfItNr{n}", duration_s=length, name=name) for n, length in told)
    )


GOOD = files(490.0, 310.0, 190.0, 400.0)
OFFSETS = recording(
    part(1, start_s=0.0, end_s=480.0, duration_s=480.0),
    part(2, start_s=482.0, end_s=780.0, duration_s=298.0),
    part(3, start_s=780.0, end_s=980.0, duration_s=201.0),
    part(4, start_s=981.0, duration_s=380.0),
)
