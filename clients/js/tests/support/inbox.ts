import type { FamaEvent, Notification, NotificationCounts, Page } from '../../src/client/types.ts';

interface Group {
  id: number;
  /** Orders the list, and is what marks are compared with; clients do not see it. */
  position: number;
  actors: string[];
  read: boolean | null;
}

/** A server's inbox of one user: groups in order, marks as positions, and the events of every change. */
export class ModelInbox {
  events: FamaEvent[] = [];
  #groups: Group[] = [];
  #position = 0;
  #seenUpTo = 0;
  #readUpTo = 0;

  /** Somebody does something: it joins an unread group, or begins one. */
  act(key: number, actor: string): void {
    const open = this.#groups.find((group) => group.id % 5 === key && !this.#view(group).read);
    this.#position += 1;
    const group = open ?? { id: this.#position * 5 + key, position: 0, actors: [], read: null };
    group.position = this.#position;
    group.actors = [actor, ...group.actors.filter((other) => other !== actor)];
    this.#groups = [group, ...this.#groups.filter((other) => other !== group)];
    this.events.push({ type: open ? 'notification.updated' : 'notification.created', notification: this.#view(group), ...this.#both() });
  }

  seen(id: string): NotificationCounts {
    this.#seenUpTo = Math.max(this.#seenUpTo, this.#find(id)?.position ?? 0);
    return this.#marked();
  }

  readUpTo(id: string): NotificationCounts {
    const to = this.#find(id)?.position ?? 0;
    this.#readUpTo = Math.max(this.#readUpTo, to);
    for (const group of this.#groups) if (group.position <= to) group.read = true;
    return this.#marked();
  }

  readEach(ids: string[], read: boolean): NotificationCounts {
    for (const id of ids) {
      const group = this.#find(id);
      if (!group) continue;
      group.read = read;
      this.events.push({ type: 'notification.updated', notification: this.#view(group), ...this.#both() });
    }
    return this.#marked();
  }

  archive(id: string): NotificationCounts {
    this.#groups = this.#groups.filter((group) => String(group.id) !== id);
    this.events.push({ type: 'notification.deleted', id, ...this.#both() });
    return this.counts();
  }

  page({ limit = 20, cursor }: { limit?: number; cursor?: string | undefined }): Page<Notification> {
    const below = this.#groups.filter((group) => cursor === undefined || group.position < Number(cursor));
    const data = below.slice(0, limit);
    const more = below.length > limit;
    return { data: data.map((group) => this.#view(group)), next_cursor: more ? String(data.at(-1)?.position) : null, has_more: more };
  }

  counts(): NotificationCounts {
    return { ...this.#both(), capped: false };
  }

  list(): Notification[] {
    return this.#groups.map((group) => this.#view(group));
  }

  /** A group in the list, for choosing one. */
  at(index: number): string | undefined {
    return this.#groups[index % Math.max(1, this.#groups.length)]?.id.toString();
  }

  #find(id: string): Group | undefined {
    return this.#groups.find((group) => String(group.id) === id);
  }

  #marked(): NotificationCounts {
    this.events.push({ type: 'inbox.marked', seen_up_to: String(this.#seenUpTo), read_up_to: String(this.#readUpTo), ...this.#both() });
    return this.counts();
  }

  #both(): { unseen: number; unread: number } {
    const views = this.#groups.map((group) => this.#view(group));
    return { unseen: views.filter(({ seen, read }) => !seen && !read).length, unread: views.filter(({ read }) => !read).length };
  }

  #view(group: Group): Notification {
    const read = group.read ?? false;
    const at = new Date(1_767_225_600_000 + group.position).toISOString();
    return {
      id: String(group.id),
      type: 'reaction',
      actors: group.actors,
      actor_count: group.actors.length,
      subject: null,
      data: null,
      text: null,
      created_at: at,
      updated_at: at,
      seen: read || group.position <= this.#seenUpTo,
      read,
    };
  }
}
