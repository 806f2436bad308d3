"""From the name of a place to its time zone."""

from __future__ import annotations

import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pi.tools import ToolError

# Places whose zone has another name (IANA time zone database, zone1970.tab); any other
# city that names a zone, such as Vienna in Europe/Vienna, is found without being listed.
PLACES = {
    "utc": "UTC",
    "gmt": "UTC",
    "india": "Asia/Kolkata",
    "delhi": "Asia/Kolkata",
    "new delhi": "Asia/Kolkata",
    "mumbai": "Asia/Kolkata",
    "bangalore": "Asia/Kolkata",
    "bengaluru": "Asia/Kolkata",
    "chennai": "Asia/Kolkata",
    "hyderabad": "Asia/Kolkata",
    "calcutta": "Asia/Kolkata",
    "china": "Asia/Shanghai",
    "beijing": "Asia/Shanghai",
    "shenzhen": "Asia/Shanghai",
    "guangzhou": "Asia/Shanghai",
    "japan": "Asia/Tokyo",
    "osaka": "Asia/Tokyo",
    "kyoto": "Asia/Tokyo",
    "south korea": "Asia/Seoul",
    "korea": "Asia/Seoul",
    "hanoi": "Asia/Bangkok",
    "thailand": "Asia/Bangkok",
    "philippines": "Asia/Manila",
    "islamabad": "Asia/Karachi",
    "lahore": "Asia/Karachi",
    "pakistan": "Asia/Karachi",
    "abu dhabi": "Asia/Dubai",
    "tel aviv": "Asia/Jerusalem",
    "israel": "Asia/Jerusalem",
    "mecca": "Asia/Riyadh",
    "turkey": "Europe/Istanbul",
    "ankara": "Europe/Istanbul",
    "uk": "Europe/London",
    "england": "Europe/London",
    "scotland": "Europe/London",
    "edinburgh": "Europe/London",
    "manchester": "Europe/London",
    "ireland": "Europe/Dublin",
    "germany": "Europe/Berlin",
    "munich": "Europe/Berlin",
    "hamburg": "Europe/Berlin",
    "frankfurt": "Europe/Berlin",
    "cologne": "Europe/Berlin",
    "austria": "Europe/Vienna",
    "switzerland": "Europe/Zurich",
    "geneva": "Europe/Zurich",
    "bern": "Europe/Zurich",
    "france": "Europe/Paris",
    "lyon": "Europe/Paris",
    "marseille": "Europe/Paris",
    "italy": "Europe/Rome",
    "milan": "Europe/Rome",
    "barcelona": "Europe/Madrid",
    "portugal": "Europe/Lisbon",
    "netherlands": "Europe/Amsterdam",
    "rotterdam": "Europe/Amsterdam",
    "hague": "Europe/Amsterdam",
    "belgium": "Europe/Brussels",
    "poland": "Europe/Warsaw",
    "krakow": "Europe/Warsaw",
    "sweden": "Europe/Stockholm",
    "norway": "Europe/Oslo",
    "denmark": "Europe/Copenhagen",
    "finland": "Europe/Helsinki",
    "greece": "Europe/Athens",
    "czechia": "Europe/Prague",
    "hungary": "Europe/Budapest",
    "kiev": "Europe/Kyiv",
    "st petersburg": "Europe/Moscow",
    "iceland": "Atlantic/Reykjavik",
    "egypt": "Africa/Cairo",
    "kenya": "Africa/Nairobi",
    "nigeria": "Africa/Lagos",
    "cape town": "Africa/Johannesburg",
    "south africa": "Africa/Johannesburg",
    "morocco": "Africa/Casablanca",
    "nyc": "America/New_York",
    "new york city": "America/New_York",
    "boston": "America/New_York",
    "washington": "America/New_York",
    "miami": "America/New_York",
    "atlanta": "America/New_York",
    "philadelphia": "America/New_York",
    "montreal": "America/Toronto",
    "ottawa": "America/Toronto",
    "houston": "America/Chicago",
    "dallas": "America/Chicago",
    "austin": "America/Chicago",
    "la": "America/Los_Angeles",
    "sf": "America/Los_Angeles",
    "san francisco": "America/Los_Angeles",
    "seattle": "America/Los_Angeles",
    "san diego": "America/Los_Angeles",
    "las vegas": "America/Los_Angeles",
    "portland": "America/Los_Angeles",
    "california": "America/Los_Angeles",
    "hawaii": "Pacific/Honolulu",
    "rio de janeiro": "America/Sao_Paulo",
    "rio": "America/Sao_Paulo",
    "são paulo": "America/Sao_Paulo",
    "brasilia": "America/Sao_Paulo",
    "buenos aires": "America/Argentina/Buenos_Aires",
    "argentina": "America/Argentina/Buenos_Aires",
    "bogotá": "America/Bogota",
    "canberra": "Australia/Sydney",
    "wellington": "Pacific/Auckland",
    "spain": "Europe/Madrid",
    "valencia": "Europe/Madrid",
    "croatia": "Europe/Zagreb",
    "serbia": "Europe/Belgrade",
    "romania": "Europe/Bucharest",
    "bulgaria": "Europe/Sofia",
    "slovakia": "Europe/Bratislava",
    "slovenia": "Europe/Ljubljana",
    "estonia": "Europe/Tallinn",
    "latvia": "Europe/Riga",
    "lithuania": "Europe/Vilnius",
    "wales": "Europe/London",
    "great britain": "Europe/London",
    "united kingdom": "Europe/London",
    "taiwan": "Asia/Taipei",
    "vietnam": "Asia/Ho_Chi_Minh",
    "malaysia": "Asia/Kuala_Lumpur",
    "nepal": "Asia/Kathmandu",
    "bangladesh": "Asia/Dhaka",
    "sri lanka": "Asia/Colombo",
    "saudi arabia": "Asia/Riyadh",
    "uae": "Asia/Dubai",
    "united arab emirates": "Asia/Dubai",
    "iran": "Asia/Tehran",
    "iraq": "Asia/Baghdad",
    "qatar": "Asia/Qatar",
    "ghana": "Africa/Accra",
    "ethiopia": "Africa/Addis_Ababa",
    "tunisia": "Africa/Tunis",
    "algeria": "Africa/Algiers",
    "colombia": "America/Bogota",
    "peru": "America/Lima",
    "venezuela": "America/Caracas",
    "uruguay": "America/Montevideo",
    "cuba": "America/Havana",
    "new zealand": "Pacific/Auckland",
}
REGIONS = (
    "Europe",
    "America",
    "Asia",
    "Africa",
    "Australia",
    "Pacific",
    "Atlantic",
    "Indian",
)
COUNTRIES = {  # of several zones, and the region that all of them are in
    "australia": "Australia/",
    **dict.fromkeys(("usa", "us", "united states", "canada", "mexico", "brazil"), "America/"),
}
PLACE_NAME = re.compile(r"[a-z]+(?:[ _-][a-z]+){0,4}", re.IGNORECASE)


def find_zone(place: str) -> ZoneInfo:
    """The time zone of a city, of a country with one zone, or of a zone's own name.

    Raises `ToolError` where the place is not known.
    """
    name = " ".join(place.strip().removeprefix("the ").split())
    for key in [*_candidates(name), *_in_country(name)]:
        try:
            return ZoneInfo(key)
        except (ZoneInfoNotFoundError, OSError):  # OSError: the name is a folder, e.g. America
            continue
    raise ToolError(f"I do not know the time zone of “{name[:60]}”. Try a large city nearby.")


def _candidates(name: str) -> list[str]:
    if known := PLACES.get(name.lower()):
        return [known]
    if re.fullmatch(r"[A-Za-z]+/[A-Za-z_]+(?:/[A-Za-z_]+)?", name):
        return ["/".join(_title(part) for part in name.split("/"))]
    if PLACE_NAME.fullmatch(name):
        return [f"{region}/{_title(name)}" for region in REGIONS]
    return []


def _in_country(name: str) -> list[str]:
    """Zones of "Paris, France": the city's, where the country agrees. Paris, Texas is none."""
    city, _, country = (part.strip() for part in name.partition(","))
    within = PLACES.get(country.lower(), COUNTRIES.get(country.lower()))
    return [key for key in _candidates(city) if within and key.startswith(within)]


def _title(name: str) -> str:
    small = {"es": "es", "of": "of", "au": "au"}  # as in Africa/Dar_es_Salaam
    words = name.lower().replace("-", " ").replace("_", " ").split()
    return "_".join(small.get(word, word.capitalize()) for word in words)
