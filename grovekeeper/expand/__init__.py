"""The arithmetic from a PodGangSet to cliques, gangs, pods and their companions. Pure; knows only api."""
